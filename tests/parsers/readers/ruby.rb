# Reads forms with what Ruby and Rack offer. See ../readers.rs for what comes in and what goes out.

require "json"
require "rack"
require "stringio"
require "uri"

def hex(text)
  text.b.unpack1("H*")
end

# Hashes and arrays stand for names with brackets: they are spelled with them again.
def flat(value, name, pairs)
  case value
  when Hash then value.each { |key, item| flat(item, "#{name}[#{key}]".b, pairs) }
  when Array then value.each { |item| flat(item, "#{name}[]".b, pairs) }
  else pairs << [hex(name), value && hex(value)]
  end
  pairs
end

# What Rails, Sinatra and Hanami have under their parameters.
def by_rack(body)
  request = Rack::Request.new(
    "REQUEST_METHOD" => "POST",
    "CONTENT_TYPE" => "application/x-www-form-urlencoded",
    "CONTENT_LENGTH" => body.bytesize.to_s,
    "rack.input" => StringIO.new(body)
  )
  request.POST.flat_map { |name, value| flat(value, name.b, []) }
end

def by_uri(body)
  URI.decode_www_form(body).map { |name, value| [hex(name), hex(value)] }
end

READERS = { "Rack" => method(:by_rack), "Ruby" => method(:by_uri) }

$stdout.sync = false
puts JSON.generate("Rack" => "#{Rack.release}, Ruby #{RUBY_VERSION}", "Ruby" => RUBY_VERSION)
$stdin.each_line do |line|
  body = [line.strip].pack("H*")
  answers = READERS.transform_values do |read|
    read.call(body.dup)
  rescue StandardError => error
    "#{error.class}: #{error.message}".b.inspect
  end
  puts JSON.generate(answers)
end
