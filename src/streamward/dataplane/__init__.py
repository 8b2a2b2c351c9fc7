"""HTTP/1.1 on event-loop protocols, both sides: the path of every token.

``downstream`` serves, ``client`` and ``pool`` call upstreams, ``exchange`` names the seam between them. No task, await,
queue or timer per token. What the bytes mean is the business of ``streamward.wire`` and of the products.
"""
