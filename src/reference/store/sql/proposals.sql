CREATE TABLE proposals (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    confidence REAL NOT NULL CHECK (confidence BETWEEN 0 AND 1),
    content TEXT NOT NULL,
    metadata TEXT NOT NULL,
    tier TEXT NOT NULL CHECK (tier IN ('auto_low', 'guarded_medium', 'guarded_high')),
    state TEXT NOT NULL CHECK (state IN ('pending', 'written', 'rejected')),
    memory_id TEXT,
    created_at_us INTEGER NOT NULL,
    CHECK ((state = 'written') = (memory_id IS NOT NULL))
) STRICT;
