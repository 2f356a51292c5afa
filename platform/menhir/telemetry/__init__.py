"""What the platform says about itself: one structured line for each event, on stderr, with the id of the request it belongs to.

`logs.configure()` is called once by whatever starts a process. Rooms say `structlog.get_logger(__name__)` and name an event in
`noun.happened` form with its facts as keywords. Tracebacks go here and never to a client; secrets go nowhere.
"""
