-- A row a restart, written before it is made. Those of the window are what is spent.
CREATE TABLE restart_budgets (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    service TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 1)
) STRICT;

-- Restarts that were asked for and are not done yet.
CREATE TABLE restart_requests (
    service TEXT NOT NULL PRIMARY KEY,
    requested_by TEXT NOT NULL,
    requested_at_us INTEGER NOT NULL
) STRICT;

-- Every beginning and end of maintenance that was asked for; the last row is what is in force.
CREATE TABLE maintenance (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    requested_by TEXT NOT NULL,
    reason TEXT,
    requested_at_us INTEGER NOT NULL
) STRICT;
