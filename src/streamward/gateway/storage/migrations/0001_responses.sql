-- Stored responses. `response` and `input` are JSON text; `size` is their length in characters.
CREATE TABLE responses (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    previous_id TEXT,
    background BIGINT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL,
    size BIGINT NOT NULL,
    response TEXT NOT NULL,
    input TEXT NOT NULL
);
CREATE INDEX responses_by_age ON responses (created_at, size);
CREATE INDEX responses_by_expiry ON responses (expires_at);

-- Which response holds an item: the newest that does.
CREATE TABLE response_items (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    response_id TEXT NOT NULL REFERENCES responses (id) ON DELETE CASCADE,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX response_items_by_response ON response_items (response_id);
