-- A session without a row is OFF.
CREATE TABLE consents (
    session_id TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('OFF', 'REQUESTED', 'GRANTED', 'ACTIVE', 'REVOKED')),
    updated_at_us INTEGER NOT NULL
) STRICT;

CREATE TRIGGER consents_stay_revoked BEFORE UPDATE ON consents WHEN OLD.state = 'REVOKED'
BEGIN
    SELECT RAISE(ABORT, 'a consent that was revoked stays so');
END;

-- The transitions that were made. What was refused is in the audit log.
CREATE TABLE consent_trail (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL,
    event TEXT NOT NULL,
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    actor_role TEXT NOT NULL,
    created_at_us INTEGER NOT NULL
) STRICT;
CREATE INDEX consent_trail_by_session ON consent_trail (session_id, seq);

CREATE TABLE observations (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    session_id TEXT NOT NULL,
    type TEXT NOT NULL,
    event TEXT NOT NULL,
    inference TEXT NOT NULL,
    created_at_us INTEGER NOT NULL
) STRICT;
