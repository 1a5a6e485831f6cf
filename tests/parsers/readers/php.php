<?php
// Reads forms as PHP reads a request's into $_POST. See ../readers.rs for what comes in and what goes out.

// Of variables beyond the 1000th it says so in the middle of the output.
ini_set('display_errors', '0');

// Arrays stand for names with brackets: they are spelled with them again.
function flat(mixed $value, string $name, array &$pairs): void
{
    if (!is_array($value)) {
        $pairs[] = [bin2hex($name), bin2hex($value)];
        return;
    }
    foreach ($value as $key => $item) {
        flat($item, "{$name}[{$key}]", $pairs);
    }
}

echo json_encode(["PHP" => PHP_VERSION]), "\n";
while (($line = fgets(STDIN)) !== false) {
    parse_str(hex2bin(trim($line)), $form);
    $pairs = [];
    foreach ($form as $name => $value) {
        flat($value, (string) $name, $pairs);
    }
    echo json_encode(["PHP" => $pairs]), "\n";
}
