CREATE TABLE messages (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    nonce          TEXT NOT NULL UNIQUE,
    account        TEXT,
    content_type   TEXT,
    raw_body       BLOB NOT NULL,
    message_sid    TEXT,
    sender         TEXT,
    body           TEXT,
    message_status TEXT,
    received_at    TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
    processed_at   TEXT
) STRICT;
CREATE INDEX messages_unprocessed ON messages (id) WHERE processed_at IS NULL;
CREATE TABLE events (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id INTEGER NOT NULL UNIQUE REFERENCES messages (id),
    outcome    TEXT NOT NULL,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
) STRICT;
PRAGMA user_version = 1;
