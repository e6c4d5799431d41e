"""The launcher: a small, clean process that orders sandboxes, enforces limits and collects output."""
