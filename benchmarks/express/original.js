// The original design's gateway, as its own samples have it (shared/seed.md: `validateApiKey`,
// `rateLimitMiddleware`): bcrypt at each call, INCR and EXPIRE in Redis, the key's row read and its
// `last_used_at` written at each call. PostgreSQL stands for Xano, which would be slower.
// Two things differ: the limit is a setting, and /api/test has a body, which the samples leave open.

const bcrypt = require('bcrypt');
const express = require('express');
const { Pool } = require('pg');
const redis = require('redis');

const KEY_ID_LENGTH = 'pk_live_'.length + 12;

const database = new Pool({ connectionString: process.env.DATABASE_URL });
const redisClient = redis.createClient({ url: process.env.REDIS_URL });
const app = express();

const xano = {
  async getApiKey(keyId) {
    const found = await database.query('SELECT * FROM api_keys WHERE key_id = $1', [keyId]);
    return found.rows[0];
  },
  async updateApiKey(keyId, { last_used_at }) {
    await database.query('UPDATE api_keys SET last_used_at = $2 WHERE key_id = $1', [keyId, last_used_at]);
  },
};

async function validateApiKey(keyId, providedKey) {
  const apiKeyRecord = await xano.getApiKey(keyId);

  if (!apiKeyRecord || !apiKeyRecord.is_active) {
    throw new Error('Invalid or inactive API key');
  }

  if (apiKeyRecord.expires_at && new Date(apiKeyRecord.expires_at) < new Date()) {
    throw new Error('API key expired');
  }

  const isValid = await bcrypt.compare(providedKey, apiKeyRecord.key_hash);

  if (!isValid) {
    throw new Error('API key verification failed');
  }

  await xano.updateApiKey(keyId, { last_used_at: new Date() });

  return apiKeyRecord;
}

async function authenticate(req, res, next) {
  const key = (req.get('authorization') || '').replace(/^Bearer /, '');
  try {
    req.apiKey = await validateApiKey(key.slice(0, KEY_ID_LENGTH), key);
  } catch (error) {
    return res.status(401).json({ error: error.message });
  }
  req.partnerId = req.apiKey.partner_id;
  next();
}

async function rateLimitMiddleware(req, res, next) {
  const partnerId = req.partnerId; // From authenticated request
  const endpoint = req.path;
  const key = `ratelimit:${partnerId}:${endpoint}`;

  const limit = Number(process.env.RATE_LIMIT || 100); // requests per minute
  const windowSeconds = 60;

  const current = await redisClient.incr(key);

  if (current === 1) {
    await redisClient.expire(key, windowSeconds);
  }

  if (current > limit) {
    const ttl = await redisClient.ttl(key);
    res.set('X-RateLimit-Limit', limit);
    res.set('X-RateLimit-Remaining', 0);
    res.set('X-RateLimit-Reset', Date.now() + ttl * 1000);
    return res.status(429).json({ error: 'Rate limit exceeded' });
  }

  res.set('X-RateLimit-Limit', limit);
  res.set('X-RateLimit-Remaining', limit - current);
  req.rateLimit = { limit, remaining: limit - current };

  next();
}

app.get('/api/test', authenticate, rateLimitMiddleware, (req, res) => {
  const { partner_id, key_id, scopes } = req.apiKey;
  res.json({ ok: true, partner_id, key_id, scopes, rate_limit: req.rateLimit });
});

app.get('/api/health', (req, res) => res.json({ status: 'ok' }));

redisClient.connect().then(() => app.listen(Number(process.env.PORT), '127.0.0.1'));
