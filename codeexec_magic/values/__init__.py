"""Values on their way between notebook and cell: safe formats, the content store, and handles on what stays away."""
