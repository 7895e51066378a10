-- What a person decides. State and decider go together; a fence is never given twice.
CREATE TABLE decisions (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('confirmation', 'action', 'approval')),
    session_id TEXT,
    tool_name TEXT NOT NULL,
    args TEXT NOT NULL CHECK (json_valid(args)),
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'approved', 'denied')),
    fence INTEGER NOT NULL,
    issues INTEGER NOT NULL DEFAULT 1 CHECK (issues >= 1),
    created_at_us INTEGER NOT NULL,
    expires_at_us INTEGER NOT NULL,
    decided_by TEXT,
    decided_role TEXT,
    decided_via TEXT,
    decided_at_us INTEGER,
    CHECK ((state = 'pending') = (decided_by IS NULL)),
    CHECK ((decided_by IS NULL) = (decided_role IS NULL))
) STRICT;
CREATE UNIQUE INDEX decisions_fence ON decisions (fence);
CREATE INDEX decisions_pending ON decisions (kind, session_id) WHERE state = 'pending';
