"""The process that runs user code: import, shapes, streaming, cancellation, log capture.

Started by forking the ``zygote``. Talks to the front over ``streamward.functions.link``; nothing here runs in the front.
"""
