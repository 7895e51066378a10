-- Sessions of releases that knew no profiles have the one that there was.
ALTER TABLE sessions ADD COLUMN profile TEXT NOT NULL DEFAULT 'default';
