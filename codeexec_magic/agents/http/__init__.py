"""What agents speak over HTTP, as Starlette routes that any application can mount."""
