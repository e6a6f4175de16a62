# usage: ask.pl ROOT PORT HOST: prints "good", or why the server is not believed.
use strict;
use warnings;
use IO::Socket::SSL;

my ($root, $port, $host) = @ARGV;
my $server = IO::Socket::SSL->new(
    PeerHost        => '127.0.0.1',
    PeerPort        => $port,
    SSL_ca_file     => $root,
    SSL_hostname    => $host,
    SSL_verifycn_name => $host,
    SSL_ocsp_mode   => SSL_OCSP_FULL_CHAIN | SSL_OCSP_FAIL_HARD,
) or do { print "$SSL_ERROR\n"; exit };
my $error = $server->ocsp_resolver->resolve_blocking;
print $error ? "$error\n" : "good\n";
