"""The queue panel: an application that monitors the queue and submits to it, drawn as widgets."""
