# One image, several roles: `web`, `worker`, `embedder`, and `migrate_all` before them. What they need is in docs/guides/operating.md.
#   docker build -t menhir .                              the image of web and worker
#   docker build -t menhir-embedder --build-arg EXTRA=[local] .   with torch and the local model
FROM python:3.12-slim-bookworm

ARG EXTRA=""
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 MENHIR_HOME=/var/lib/menhir
WORKDIR /srv/menhir

# Dependencies first: they change less often than we do.
COPY pyproject.toml constraints.txt README.md ./
RUN if [ -n "$EXTRA" ]; then pip install torch==2.13.0; fi \
 && pip install -c constraints.txt -e ".${EXTRA}"

COPY manage.py ./
COPY platform platform
COPY apps apps
COPY templates templates
COPY static static
COPY locale locale
COPY migrations migrations
COPY docs docs

# The user below may not write here: what is compiled now need not be at every start.
RUN python -m compileall -q platform apps migrations
RUN useradd --system --home-dir /var/lib/menhir --create-home menhir
USER menhir
EXPOSE 8000
# The other roles listen to nobody: they are healthy for as long as they live.
HEALTHCHECK CMD ["python", "-c", "import os, urllib.request as r; b'web' not in open('/proc/1/cmdline', 'rb').read().split(b'\\0') or r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:%s/healthz' % os.environ.get('PORT', 8000), timeout=5)"]
ENTRYPOINT ["python", "manage.py"]
CMD ["web", "--host", "0.0.0.0"]
