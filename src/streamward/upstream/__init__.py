"""The provider side: who there is (``providers``, ``catalogue``), how to call them (``upstream``, ``demo``, ``local``)
and how often to try (``attempts``). HTTP itself is the data plane's; dialects are ``streamward.wire``'s.
"""
