-- Memory writes of turns that the memory engine has not taken yet, and the last ones that it has.
-- id is the key of every try; what is sent never changes.
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    session_id TEXT NOT NULL,
    turn_id TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL CHECK (json_valid(body)),
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'refused')),
    correlation_id TEXT NOT NULL,
    causal_parent TEXT NOT NULL,
    actor TEXT NOT NULL,
    created_at_us INTEGER NOT NULL,
    settled_at_us INTEGER,
    CHECK ((state = 'pending') = (settled_at_us IS NULL))
) STRICT;
CREATE INDEX outbox_pending ON outbox (seq) WHERE state = 'pending';
