"""What a company's language models cost and who spent it, to the token and to the cent.

The packages are the stages of the data's way, in order: ``credentials`` → ``pulls`` (through ``providers``) and
``hermes`` → ``normalise`` → ``ledger`` → ``reconcile`` (with ``pricing``). ``orchestration`` is the only one that
knows Dagster; ``cli`` is the other way in. docs/architecture.md has the picture.
"""
