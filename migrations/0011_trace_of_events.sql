-- The trace that an event was published in; its webhooks carry it on.
ALTER TABLE events ADD COLUMN traceparent text;
