"""Runs on worker machines: the Celery task that hands cells to sandboxes, and the sandboxes themselves."""
