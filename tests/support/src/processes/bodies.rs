//! Bodies of every size, and of every number of parameters.

/// In bytes.
pub const SIZES: [usize; 4] = [100, 1_024, 8_192, 65_536];
/// In parameters.
pub const COUNTS: [usize; 4] = [1, 20, 100, 500];

/// One parameter with much to decode. `number` makes it unlike others.
pub fn of_size(bytes: usize, number: usize) -> Vec<u8> {
    let mut body = format!("N={number}&Body=");
    while body.len() + ENCODED.len() <= bytes {
        body.push_str(ENCODED);
    }
    // No escape is cut in two: the other implementation would not take it for what it is.
    body.extend(std::iter::repeat_n('x', bytes - body.len()));
    body.into_bytes()
}

const ENCODED: &str = "a%20b+c%C3%A9";

/// In an order that has to be sorted, as what Twilio sends.
pub fn of_parameters(count: usize, number: usize) -> Vec<u8> {
    let parameter = |index: usize| {
        let name = index * 7919 % 1000;
        format!("Parameter{name}=value+{index}+{number}")
    };
    let parameters: Vec<_> = (0..count).map(parameter).collect();
    parameters.join("&").into_bytes()
}
