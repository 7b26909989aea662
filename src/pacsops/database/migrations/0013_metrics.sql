-- Runs with 0.1.0 and newer.
-- How much of what happened was counted for good, so that monitoring need not count years of events every minute. A
-- release of before neither reads nor writes these tables.
CREATE TABLE metric_total (
    metric         varchar(32)  NOT NULL,                     -- see delivery/sql/count_events.sql
    destination    varchar(64)  NOT NULL,                     -- empty: of the whole site
    total          bigint       NOT NULL,
    PRIMARY KEY (metric, destination)
);
-- One row: metric_total has the events before this moment, and none after it.
CREATE TABLE metric_counted (
    the_one        boolean      PRIMARY KEY DEFAULT true CHECK (the_one),
    until          timestamptz  NOT NULL
);
-- Where the index does not know a range of the table yet, all of it is read: up to now the fifth that was written since
-- the last vacuum.
ALTER INDEX idx_routing_event_at SET (autosummarize = on);
SELECT brin_summarize_new_values('idx_routing_event_at');
