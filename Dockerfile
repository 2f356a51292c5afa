# One image, several roles: `web`, `worker`, `embedder`, and `migrate_all` before them.
#   docker build -t menhir .                              the image of web and worker
#   docker build -t menhir-embedder --build-arg EXTRA=[local] .   with torch and the local model
FROM python:3.12-slim-bookworm

ARG EXTRA=""
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 MENHIR_HOME=/var/lib/menhir
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

RUN useradd --system --home-dir /var/lib/menhir --create-home menhir
USER menhir
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz')"]
ENTRYPOINT ["python", "manage.py"]
CMD ["web", "--host", "0.0.0.0"]
