# Reads forms with Perl's CGI. See ../readers.rs for what comes in and what goes out.

use strict;
use warnings;
use CGI;

$CGI::LIST_CONTEXT_WARN = 0;
$| = 0;
print "{\"CGI\": \"$CGI::VERSION, Perl ", sprintf("%vd", $^V), "\"}\n";
while (my $line = <STDIN>) {
    chomp $line;
    my $form = CGI->new(pack("H*", $line));
    my @pairs;
    for my $name ($form->param) {
        push @pairs, map { sprintf('["%s", "%s"]', unpack("H*", $name), unpack("H*", $_)) } $form->multi_param($name);
    }
    print "{\"CGI\": [", join(", ", @pairs), "]}\n";
}
