CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    metadata TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'closed')),
    turn_count INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL,
    used_at_us INTEGER NOT NULL,
    expires_at_us INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_active ON sessions (expires_at_us) WHERE state = 'active';
