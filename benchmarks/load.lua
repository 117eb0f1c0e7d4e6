-- For wrk: sends the requests of a file in turn, and ends with one line of JSON.
-- The file holds whole requests, each followed by a byte of 0.
-- wrk itself counts the answers: a `response` function here would cost 8 microseconds of an answer on the cores that
-- the server shares, and more the more headers it has.

local requests, following = {}, 0

function init(arguments)
  local file = assert(io.open(arguments[1], 'rb'))
  for text in file:read('*a'):gmatch('(%Z+)%z') do
    table.insert(requests, text)
  end
  file:close()
end

function request()
  following = following % #requests + 1
  return requests[following]
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    '{"seconds":%.6f,"p50":%.3f,"p95":%.3f,"p99":%.3f,"answers":%d,"refused":%d,"broken":%d}',
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3,
    summary.requests, errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
