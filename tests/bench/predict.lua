-- wrk -s predict.lua URL -- BODY_FILE CONTENT_TYPE TOP
-- Counts every answer whose first class is not TOP, whoever wrote the JSON; the last line of output
-- is JSON as well.
local threads = {}

wrong = 0

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  local file = assert(io.open(args[1], "rb"))
  local body = file:read("*a")
  file:close()
  want = args[3]
  prepared = wrk.format("POST", nil, { ["Content-Type"] = args[2] }, body)
end

function request()
  return prepared
end

function response(status, headers, body)
  if status ~= 200 or string.match(body, '"class"%s*:%s*"([^"]*)"') ~= want then
    wrong = wrong + 1
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout
  for _, thread in ipairs(threads) do
    failed = failed + thread:get("wrong")
  end
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "failed": %d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, failed))
end
