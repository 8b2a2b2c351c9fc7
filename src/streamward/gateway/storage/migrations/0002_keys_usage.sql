-- Client keys. `digest` is the SHA-256 of the secret in hex: the secret itself is nowhere. `limits` is JSON.
CREATE TABLE client_keys (
    id TEXT PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    prefix TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION,
    revoked_at DOUBLE PRECISION,
    limits TEXT NOT NULL
);
CREATE UNIQUE INDEX client_keys_by_name ON client_keys (name) WHERE revoked_at IS NULL;

-- One row per call that went to a target. `cost_usd` is null where no price is known.
CREATE TABLE usage (
    id TEXT PRIMARY KEY,
    time DOUBLE PRECISION NOT NULL,
    day TEXT NOT NULL,
    tenant TEXT NOT NULL,
    key_name TEXT NOT NULL,
    route TEXT NOT NULL,
    model TEXT NOT NULL,
    target TEXT NOT NULL,
    stream BIGINT NOT NULL,
    status BIGINT NOT NULL,
    ending TEXT NOT NULL,
    code TEXT NOT NULL,
    ttft_ms DOUBLE PRECISION,
    duration_ms DOUBLE PRECISION NOT NULL,
    input_tokens BIGINT,
    output_tokens BIGINT,
    reasoning_tokens BIGINT,
    cached_tokens BIGINT,
    cost_usd DOUBLE PRECISION,
    grade TEXT NOT NULL
);
CREATE INDEX usage_by_time ON usage (time);

-- What each key has spent, by day (UTC): budgets are read from here, whatever became of old usage rows.
CREATE TABLE key_spend (
    tenant TEXT NOT NULL,
    day TEXT NOT NULL,
    spent_usd DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (tenant, day)
);
