"""What the platform says about itself: log lines, numbers, spans. None of it names what people asked, or any secret.

- `logs`: one structured line for each event, on stderr, with the id of the request it belongs to. `logs.configure()` is called once by
  whatever starts a process. Rooms say `structlog.get_logger(__name__)` and name an event in `noun.happened` form with its facts as
  keywords. Tracebacks go here and never to a client.
- `meters` are counted as things happen, `gauges` are looked up when somebody scrapes; `exposition` makes Prometheus' form of both.
- `calls`: what is measured of each model call, and `calls.watchers` for whoever wants to hear of each (`lines`, `otel`).
- `tracing`: where a call stands in its caller's trace. `lag`: how late the event loop is.

Metrics name no tenant; spans and lines do, for they go to operators alone.
"""

from menhir.telemetry import plain as plain  # before anybody else loads structlog
