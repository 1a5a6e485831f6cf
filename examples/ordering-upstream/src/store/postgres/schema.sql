-- What sqlite/messages.sql and sqlite/shop.sql make, in PostgreSQL's words. Times are text here too: RFC 3339 in UTC,
-- which sorts as it reads and is what the pages show.

CREATE FUNCTION utc_now() RETURNS TEXT LANGUAGE sql VOLATILE AS $$
    SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

CREATE TABLE messages (
    id             BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    nonce          TEXT NOT NULL UNIQUE,
    account        TEXT,
    content_type   TEXT,
    raw_body       BYTEA NOT NULL,
    message_sid    TEXT,
    sender         TEXT,
    body           TEXT,
    message_status TEXT,
    received_at    TEXT NOT NULL DEFAULT (utc_now()),
    processed_at   TEXT
);
CREATE INDEX messages_unprocessed ON messages (id) WHERE processed_at IS NULL;
CREATE TABLE events (
    id         BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    message_id BIGINT NOT NULL UNIQUE REFERENCES messages (id),
    outcome    TEXT NOT NULL,
    created_at TEXT NOT NULL DEFAULT (utc_now())
);

-- A webhook that comes again under another nonce (signed by another key, after a rotation) has the same MessageSid.
CREATE INDEX messages_by_sid ON messages (message_sid) WHERE message_status IS NULL;

CREATE TABLE customers (
    id        BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    -- WhatsApp's name for the customer: the telephone number's digits.
    wa_id     TEXT NOT NULL UNIQUE,
    -- Where replies go, and from which number of ours.
    contact   TEXT NOT NULL,
    shop      TEXT NOT NULL,
    name      TEXT NOT NULL,
    last_item TEXT,
    address   TEXT,
    latitude  DOUBLE PRECISION,
    longitude DOUBLE PRECISION,
    note      TEXT,
    asked     TEXT NOT NULL DEFAULT 'nothing'
);

CREATE TABLE cart_lines (
    customer_id BIGINT NOT NULL REFERENCES customers (id),
    position    BIGINT NOT NULL,
    item        TEXT NOT NULL,
    quantity    BIGINT NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (customer_id, position)
);

-- What was ordered stays as it was, whatever becomes of menu and customer. The id is the order's number; an identity,
-- so that none is given twice.
CREATE TABLE orders (
    id          BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    customer_id BIGINT NOT NULL REFERENCES customers (id),
    state       TEXT NOT NULL,
    name        TEXT NOT NULL,
    address     TEXT NOT NULL,
    latitude    DOUBLE PRECISION,
    longitude   DOUBLE PRECISION,
    note        TEXT,
    total_cents BIGINT NOT NULL,
    created_at  TEXT NOT NULL DEFAULT (utc_now()),
    updated_at  TEXT NOT NULL DEFAULT (utc_now())
);
CREATE INDEX orders_open ON orders (id) WHERE state NOT IN ('delivered', 'cancelled');
CREATE INDEX orders_by_customer ON orders (customer_id);

CREATE TABLE order_lines (
    order_id   BIGINT NOT NULL REFERENCES orders (id),
    position   BIGINT NOT NULL,
    name       TEXT NOT NULL,
    quantity   BIGINT NOT NULL,
    unit_cents BIGINT NOT NULL,
    PRIMARY KEY (order_id, position)
);

-- The outbox: written together with the change that it tells of, sent afterwards.
CREATE TABLE replies (
    id              BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    -- What it answers; absent where the kitchen moved an order.
    message_id      BIGINT REFERENCES messages (id),
    order_id        BIGINT REFERENCES orders (id),
    sender          TEXT NOT NULL,
    recipient       TEXT NOT NULL,
    body            TEXT NOT NULL,
    -- recorded: nothing is sent at all; sending: an attempt has begun, and how it ended is not recorded yet.
    state           TEXT NOT NULL CHECK (state IN ('recorded', 'waiting', 'sending', 'sent', 'failed')),
    attempts        BIGINT NOT NULL DEFAULT 0,
    -- Milliseconds since 1970.
    next_attempt_at BIGINT NOT NULL DEFAULT 0,
    sid             TEXT,
    error           TEXT,
    created_at      TEXT NOT NULL DEFAULT (utc_now()),
    sent_at         TEXT
);
CREATE INDEX replies_open ON replies (recipient, id) WHERE state IN ('waiting', 'sending');
CREATE INDEX replies_by_message ON replies (message_id);
CREATE INDEX replies_by_order ON replies (order_id);

-- What status callbacks say of the messages that Twilio has taken. A table of its own, because a callback can be here
-- before Twilio's answer, which brings the SID.
CREATE TABLE deliveries (
    sid        TEXT PRIMARY KEY,
    status     TEXT NOT NULL,
    -- Callbacks overtake each other; only one that is further along counts.
    progress   BIGINT NOT NULL,
    error_code TEXT,
    updated_at TEXT NOT NULL DEFAULT (utc_now())
);
