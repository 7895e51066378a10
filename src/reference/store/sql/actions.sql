-- What was planned. A guarded action has a decision of the same id.
CREATE TABLE actions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    session_id TEXT NOT NULL,
    intent TEXT NOT NULL,
    params TEXT NOT NULL CHECK (json_valid(params)),
    risk TEXT NOT NULL CHECK (risk IN ('safe', 'guarded', 'blocked')),
    dry_run INTEGER NOT NULL CHECK (dry_run IN (0, 1)),
    state TEXT NOT NULL CHECK (state IN ('planned', 'validated', 'pending_approval', 'approved',
        'denied', 'executing', 'verifying', 'succeeded', 'failed', 'cancelled', 'timeout')),
    execution TEXT CHECK (execution IS NULL OR json_valid(execution)),
    created_at_us INTEGER NOT NULL
) STRICT;
CREATE INDEX actions_of_session ON actions (session_id);
