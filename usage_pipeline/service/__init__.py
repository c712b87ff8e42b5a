"""The HTTP service: what ``usage-pipeline serve`` answers. A thin face over the inbox and the store.

``app`` puts the routes together; ``ingest`` takes in Hermes batches, with ``request_body`` for the limits of what is
read and ``answers`` for what a refusal looks like; ``health`` tells whether the process lives and the store fits;
``openapi`` describes it all; ``server`` is the socket and the process. In: a :class:`~.runtime.ServiceRuntime`. Out:
answers, one line in the log for each, never a token, a query string or a body in it.
"""
