// The same app as original.js, made as fast by hand as Express allows: a key that passed bcrypt is remembered
// in memory for a minute, the limit is one Lua call, `last_used_at` is written in batches, and Express's
// own extras (ETag, X-Powered-By, query parsing) are off. It does less than PinkSync does: a revoked key or
// a suspended partner goes on being served until its minute is over.

const bcrypt = require('bcrypt');
const express = require('express');
const { Pool } = require('pg');
const redis = require('redis');

const KEY_ID_LENGTH = 'pk_live_'.length + 12;
const REMEMBERED_MS = 60_000;
const FLUSH_MS = 5_000;
const LIMIT = Number(process.env.RATE_LIMIT || 100);

const COUNT = redis.defineScript({
  NUMBER_OF_KEYS: 1,
  SCRIPT: `
    local current = redis.call('INCR', KEYS[1])
    if current == 1 then
      redis.call('EXPIRE', KEYS[1], 60)
      return {current, 60}
    end
    return {current, redis.call('TTL', KEYS[1])}`,
  parseCommand(parser, key) {
    parser.pushKey(key);
  },
  transformReply: undefined,
});

const database = new Pool({ connectionString: process.env.DATABASE_URL });
const redisClient = redis.createClient({ url: process.env.REDIS_URL, scripts: { count: COUNT } });
const remembered = new Map();
const used = new Set();

const app = express();
app.disable('etag');
app.disable('x-powered-by');
app.set('query parser', false);

async function proven(key) {
  const known = remembered.get(key);
  if (known && known.until > Date.now()) return known.row;
  const keyId = key.slice(0, KEY_ID_LENGTH);
  const found = await database.query({
    name: 'key',
    text: `SELECT * FROM api_keys
           WHERE key_id = $1 AND is_active AND (expires_at IS NULL OR expires_at > now())`,
    values: [keyId],
  });
  const row = found.rows[0];
  if (!row || !(await bcrypt.compare(key, row.key_hash))) return undefined;
  remembered.set(key, { row, until: Date.now() + REMEMBERED_MS });
  return row;
}

app.get('/api/test', async (req, res) => {
  const key = (req.headers.authorization || '').slice('Bearer '.length);
  const row = await proven(key);
  if (!row) return res.status(401).json({ error: 'Invalid API key' });

  const [current, ttl] = await redisClient.count(`ratelimit:${row.partner_id}:/api/test`);
  const reset = Math.ceil(Date.now() / 1000) + ttl;
  const remaining = Math.max(0, LIMIT - current);
  res.setHeader('X-RateLimit-Limit', LIMIT);
  res.setHeader('X-RateLimit-Remaining', remaining);
  res.setHeader('X-RateLimit-Reset', reset);
  if (current > LIMIT) return res.status(429).json({ error: 'Rate limit exceeded' });

  used.add(row.key_id);
  const { partner_id, key_id, scopes } = row;
  res.json({ ok: true, partner_id, key_id, scopes, rate_limit: { limit: LIMIT, remaining, reset } });
});

app.get('/api/health', (req, res) => res.json({ status: 'ok' }));

async function flush() {
  const keyIds = [...used];
  used.clear();
  if (keyIds.length) {
    await database.query('UPDATE api_keys SET last_used_at = now() WHERE key_id = ANY ($1)', [keyIds]);
  }
}

setInterval(() => flush().catch(console.error), FLUSH_MS).unref();
redisClient.connect().then(() => app.listen(Number(process.env.PORT), '127.0.0.1'));
