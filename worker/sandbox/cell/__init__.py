"""What runs in the process of one cell: its guards, its interpreter, its output streams."""
