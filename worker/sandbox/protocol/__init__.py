"""What crosses a socket or pipe between worker, launcher, zygote and cell: framing, packets, messages."""
