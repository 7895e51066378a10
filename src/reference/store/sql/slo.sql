-- What the SLO machine remembers: one row, and the breached windows behind it, newest last.
CREATE TABLE slo_state (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    mode TEXT NOT NULL CHECK (mode IN ('normal', 'degraded', 'recovering')),
    consecutive_breach INTEGER NOT NULL,
    consecutive_healthy INTEGER NOT NULL,
    streak TEXT NOT NULL,
    entered_at_us INTEGER,
    reason TEXT,
    window_index INTEGER NOT NULL,
    closed_at_us INTEGER NOT NULL,
    CHECK ((mode = 'normal') = (entered_at_us IS NULL)),
    CHECK ((reason IS NULL) = (entered_at_us IS NULL))
) STRICT;

CREATE TABLE slo_breaches (
    window_index INTEGER NOT NULL PRIMARY KEY,
    closed_at_us INTEGER NOT NULL,
    reason TEXT NOT NULL,
    samples INTEGER NOT NULL,
    p95 TEXT NOT NULL,
    p99 TEXT NOT NULL
) STRICT;
