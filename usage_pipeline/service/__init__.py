"""The HTTP service: what ``usage-pipeline serve`` answers. A thin face over the inbox and the store.

``app`` puts the routes together; ``access`` says who may use which, and refuses to start with one that nobody decided
about. ``ingest`` takes in Hermes batches, with ``request_body`` for the limits of what is read and ``answers`` for what
a refusal looks like; ``cron``, ``health`` and ``metrics`` are for operators. The usage API: ``readings`` lists its
routes, ``reading`` is how each answers, ``parameters`` reads what is asked, and each route has a module of its own;
``sessions`` lets people log in. ``openapi`` and ``openapi_usage`` describe it all; ``server`` is the socket and the
process. In: a :class:`~.runtime.ServiceRuntime`. Out: answers, one line in the log for each, never a token, a query
string or a body in it.
"""
