"""The HTTP edge: webhooks and the API, as one ASGI application (`app.build`), served by uvicorn."""  # noqa: A005  # never on sys.path by itself
