-- A webhook that comes again under another nonce (signed by another key, after a rotation) has the same MessageSid.
CREATE INDEX messages_by_sid ON messages (message_sid) WHERE message_status IS NULL;

CREATE TABLE customers (
    id        INTEGER PRIMARY KEY,
    -- WhatsApp's name for the customer: the telephone number's digits.
    wa_id     TEXT NOT NULL UNIQUE,
    -- Where replies go, and from which number of ours.
    contact   TEXT NOT NULL,
    shop      TEXT NOT NULL,
    name      TEXT NOT NULL,
    last_item TEXT,
    address   TEXT,
    latitude  REAL,
    longitude REAL,
    note      TEXT,
    asked     TEXT NOT NULL DEFAULT 'nothing'
) STRICT;

CREATE TABLE cart_lines (
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    position    INTEGER NOT NULL,
    item        TEXT NOT NULL,
    quantity    INTEGER NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (customer_id, position)
) STRICT, WITHOUT ROWID;

-- What was ordered stays as it was, whatever becomes of menu and customer. The id is the order's number; AUTOINCREMENT,
-- so that none is given twice.
CREATE TABLE orders (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    state       TEXT NOT NULL,
    name        TEXT NOT NULL,
    address     TEXT NOT NULL,
    latitude    REAL,
    longitude   REAL,
    note        TEXT,
    total_cents INTEGER NOT NULL,
    created_at  TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
    updated_at  TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
) STRICT;
CREATE INDEX orders_open ON orders (id) WHERE state NOT IN ('delivered', 'cancelled');
CREATE INDEX orders_by_customer ON orders (customer_id);

CREATE TABLE order_lines (
    order_id   INTEGER NOT NULL REFERENCES orders (id),
    position   INTEGER NOT NULL,
    name       TEXT NOT NULL,
    quantity   INTEGER NOT NULL,
    unit_cents INTEGER NOT NULL,
    PRIMARY KEY (order_id, position)
) STRICT, WITHOUT ROWID;

-- The outbox: written together with the change that it tells of, sent afterwards.
CREATE TABLE replies (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    -- What it answers; absent where the kitchen moved an order.
    message_id      INTEGER REFERENCES messages (id),
    order_id        INTEGER REFERENCES orders (id),
    sender          TEXT NOT NULL,
    recipient       TEXT NOT NULL,
    body            TEXT NOT NULL,
    -- recorded: nothing is sent at all; sending: an attempt has begun, and how it ended is not recorded yet.
    state           TEXT NOT NULL CHECK (state IN ('recorded', 'waiting', 'sending', 'sent', 'failed')),
    attempts        INTEGER NOT NULL DEFAULT 0,
    -- Milliseconds since 1970.
    next_attempt_at INTEGER NOT NULL DEFAULT 0,
    sid             TEXT,
    error           TEXT,
    created_at      TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
    sent_at         TEXT
) STRICT;
CREATE INDEX replies_open ON replies (recipient, id) WHERE state IN ('waiting', 'sending');
CREATE INDEX replies_by_message ON replies (message_id);
CREATE INDEX replies_by_order ON replies (order_id);

-- What status callbacks say of the messages that Twilio has taken. A table of its own, because a callback can be here
-- before Twilio's answer, which brings the SID.
CREATE TABLE deliveries (
    sid        TEXT PRIMARY KEY,
    status     TEXT NOT NULL,
    -- Callbacks overtake each other; only one that is further along counts.
    progress   INTEGER NOT NULL,
    error_code TEXT,
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 2;
