-- The embedded store, schema version 5. Rows are projections of the events; `success` carries the one promise that
-- no program error may break: at most one success for each visit.
CREATE TABLE store_meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- Processes that own runs. `beat` counts up while the process lives; other hosts watch it change.
CREATE TABLE worker (
    worker_id TEXT PRIMARY KEY,
    session   TEXT NOT NULL,
    kind      TEXT NOT NULL,
    name      TEXT NOT NULL,
    host      TEXT NOT NULL,
    boot      TEXT NOT NULL,
    pid_ns    TEXT NOT NULL,
    pid       INTEGER NOT NULL,
    pid_start TEXT NOT NULL,
    started   REAL NOT NULL,
    beat      INTEGER NOT NULL DEFAULT 0,
    seen      REAL NOT NULL,
    closed    INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- The answers of each writer's newest group, so that a group sent again after a crash is answered, not applied twice.
CREATE TABLE writer (
    session TEXT PRIMARY KEY,
    n       INTEGER NOT NULL,
    answers BLOB NOT NULL,
    at      REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE run (
    run_id     TEXT PRIMARY KEY,
    flow       TEXT NOT NULL,
    notebook   TEXT NOT NULL,
    live       INTEGER NOT NULL,
    state      TEXT NOT NULL,
    type       TEXT NOT NULL,
    message    TEXT NOT NULL,
    created_at REAL NOT NULL,
    ended_at   REAL,
    worker     TEXT NOT NULL,
    parameters TEXT NOT NULL,
    graph      TEXT NOT NULL,
    version    INTEGER NOT NULL,
    seq        INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX run_by_age ON run (created_at);

CREATE TABLE visit (
    run_id       TEXT NOT NULL REFERENCES run (run_id),
    task         TEXT NOT NULL,
    visit        INTEGER NOT NULL,
    idx          INTEGER NOT NULL,
    kind         TEXT NOT NULL,
    state        TEXT NOT NULL,
    type         TEXT NOT NULL,
    message      TEXT NOT NULL,
    version      INTEGER NOT NULL,
    token        INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    attempts     INTEGER NOT NULL,
    key          TEXT NOT NULL,
    result       TEXT NOT NULL,
    parent       TEXT,
    cell         TEXT,
    planned_at   REAL NOT NULL,
    started_at   REAL,
    ended_at     REAL,
    duration_s   REAL,
    due_at       REAL,
    cached_from  TEXT,
    cached_age_s REAL,
    saved_s      REAL,
    reason       TEXT NOT NULL,
    error        TEXT,
    PRIMARY KEY (run_id, task, visit, idx)
);
CREATE INDEX visit_by_result ON visit (result) WHERE result <> '';

CREATE TABLE event (
    run_id TEXT NOT NULL REFERENCES run (run_id),
    seq    INTEGER NOT NULL,
    body   TEXT NOT NULL,
    PRIMARY KEY (run_id, seq)
) WITHOUT ROWID;

CREATE TABLE success (
    run_id TEXT NOT NULL,
    task   TEXT NOT NULL,
    visit  INTEGER NOT NULL,
    idx    INTEGER NOT NULL,
    token  INTEGER NOT NULL,
    result TEXT NOT NULL,
    PRIMARY KEY (run_id, task, visit, idx)
) WITHOUT ROWID;

-- `uses` names another result, without which this one is worth nothing; `gone_at` is the time since when nothing is
-- known to refer to it.
CREATE TABLE result (
    digest  TEXT PRIMARY KEY,
    size    INTEGER NOT NULL,
    codec   TEXT NOT NULL,
    inline  BLOB,
    cost_s  REAL NOT NULL,
    used_at REAL NOT NULL,
    uses    TEXT NOT NULL DEFAULT '',
    gone_at REAL
);

CREATE TABLE entry (
    id         INTEGER PRIMARY KEY,
    key        TEXT NOT NULL,
    code_key   TEXT NOT NULL,
    task       TEXT NOT NULL,
    flow       TEXT NOT NULL,
    run        TEXT NOT NULL,
    result     TEXT NOT NULL,
    created_at REAL NOT NULL,
    cost_s     REAL NOT NULL,
    manifest   TEXT NOT NULL,
    parts      TEXT NOT NULL,
    invalid    INTEGER NOT NULL
);
CREATE INDEX entry_by_key ON entry (key);
CREATE INDEX entry_by_code ON entry (code_key);
CREATE INDEX entry_by_task ON entry (flow, task);
CREATE INDEX entry_by_result ON entry (result);

CREATE TABLE log (
    id      INTEGER PRIMARY KEY,
    run_id  TEXT NOT NULL REFERENCES run (run_id),
    task    TEXT NOT NULL,
    visit   INTEGER NOT NULL,
    idx     INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    stream  TEXT NOT NULL,
    text    TEXT NOT NULL,
    at      REAL NOT NULL
);
CREATE INDEX log_by_task ON log (run_id, task);
-- Of an artifact only the newest version is kept.
CREATE UNIQUE INDEX artifact ON log (run_id, task, visit, idx, stream) WHERE stream GLOB 'artifact:*';

CREATE TABLE signal (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id   TEXT NOT NULL,
    kind     TEXT NOT NULL,
    task     TEXT NOT NULL,
    actor    TEXT NOT NULL,
    at       REAL NOT NULL,
    taken_by TEXT NOT NULL DEFAULT '',
    detail   TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX signal_open ON signal (run_id, taken_by);

-- Limits by tag, and the tickets of visits that wait for slots of them (in the order of their ids) or hold them.
CREATE TABLE tag_limit (
    tag   TEXT PRIMARY KEY,
    slots INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE ticket (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL,
    task   TEXT NOT NULL,
    visit  INTEGER NOT NULL,
    idx    INTEGER NOT NULL,
    worker TEXT NOT NULL,
    tags   TEXT NOT NULL,
    held   INTEGER NOT NULL,
    UNIQUE (run_id, task, visit, idx)
);
CREATE INDEX ticket_by_turn ON ticket (held, id);
