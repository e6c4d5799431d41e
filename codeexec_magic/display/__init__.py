"""What the user sees of a job: drawn from its events and its state; nothing is decided here.

``theme`` and ``render`` are pure (state in, HTML or text out); ``sanitize`` is the policy for what a cell may show;
``transcript`` and ``replay`` turn events into output; ``live``, ``notebook``, ``background`` and ``terminal`` put it
on a screen. Only the last four touch IPython or ipywidgets.
"""
