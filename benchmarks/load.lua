-- For wrk: sends the requests of a file in turn, counts the answers by status, and ends with one line of JSON.
-- The file holds whole requests, each followed by a byte of 0.

local requests, following = {}, 0
local threads = {}
statuses = {}

function setup(thread)
  table.insert(threads, thread)
end

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

function response(status)
  statuses[status] = (statuses[status] or 0) + 1
end

function done(summary, latency)
  local counted = {}
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get('statuses')) do
      counted[status] = (counted[status] or 0) + count
    end
  end
  local parts = {}
  for status, count in pairs(counted) do
    table.insert(parts, string.format('"%d":%d', status, count))
  end
  local errors = summary.errors
  print(string.format(
    '{"seconds":%.6f,"p50":%.3f,"p95":%.3f,"p99":%.3f,"broken":%d,"statuses":{%s}}',
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.timeout, table.concat(parts, ',')))
end
