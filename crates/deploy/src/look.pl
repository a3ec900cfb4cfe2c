# Looks at the screen of this container: is anything shown, and does a window manager run?
#
# Speaks the X11 protocol itself (X Window System Protocol, version 11; Xauthority(5); Extended
# Window Manager Hints), because every Debian image has perl-base and hardly any has a program that
# takes pictures. Prints one line of words, and with the argument `picture` the pixels after it.
use strict;
use Socket;

my $want = shift // 'look';
sub out { print STDOUT "kasmforge-look ", join(' ', @_), "\n"; }
sub failed { out('error', @_); exit 0; }

my ($number, $screen) = ($ENV{DISPLAY} // '') =~ /^(?:unix)?:(\d+)(?:\.(\d+))?$/
    or failed('DISPLAY is not a display of this container');

# The display's cookie, if it has one.
my ($method, $cookie) = ('', '');
my $authority = $ENV{XAUTHORITY} || ($ENV{HOME} // '') . '/.Xauthority';
if (open(my $file, '<:raw', $authority)) {
    local $/;
    my $text = <$file>;
    while (length($text) > 2) {
        $text = substr($text, 2);
        my @field;
        for (1 .. 4) {
            last if length($text) < 2;
            my $length = unpack('n', $text);
            push @field, substr($text, 2, $length);
            $text = length($text) >= 2 + $length ? substr($text, 2 + $length) : '';
        }
        next unless @field == 4 && $field[2] eq 'MIT-MAGIC-COOKIE-1';
        next unless $field[1] eq $number || $field[1] eq '';
        ($method, $cookie) = @field[2, 3];
        last;
    }
}

socket(my $x, PF_UNIX, SOCK_STREAM, 0) or failed("no socket: $!");
connect($x, pack_sockaddr_un("/tmp/.X11-unix/X$number"))
    or failed("the X server does not answer on :$number");
binmode($x);
alarm 20;
sub send_all {
    my $data = shift;
    while (length $data) {
        my $count = syswrite($x, $data) // failed("the X server went away: $!");
        $data = substr($data, $count);
    }
}
sub receive {
    my ($length, $data) = (shift, '');
    while (length($data) < $length) {
        my $count = sysread($x, $data, $length - length($data), length($data));
        failed('the X server went away') unless $count;
    }
    return $data;
}
sub padded { my $data = shift; return $data . "\0" x (-length($data) % 4); }

my ($lsb) = unpack('h', pack('s', 1));
send_all(pack('CxSSSSx2', $lsb ? ord('l') : ord('B'), 11, 0, length($method), length($cookie))
    . padded($method) . padded($cookie));
my ($status, $reason, undef, undef, $more) = unpack('CCSSS', receive(8));
my $setup = receive(4 * $more);
failed('the X server refuses: ' . substr($setup, 0, $reason)) unless $status == 1;
my ($vendor, $formats, $order) = unpack('x16Sx3CC', $setup);
$vendor += -$vendor % 4;
my %bits;
for my $index (0 .. $formats - 1) {
    my ($depth, $per_pixel) = unpack('CC', substr($setup, 32 + $vendor + 8 * $index, 2));
    $bits{$depth} = $per_pixel;
}
my $at = 32 + $vendor + 8 * $formats;
my ($root, $width, $height, $visual, $depth, $depths) = unpack('Lx16SSx8Lx2CC', substr($setup, $at));
$at += 40;
my @masks = (0, 0, 0);
for (1 .. $depths) {
    my (undef, $visuals) = unpack('CxSx4', substr($setup, $at, 8));
    $at += 8;
    for (1 .. $visuals) {
        my ($id, @colours) = unpack('Lx4LLL', substr($setup, $at, 24));
        @masks = @colours if $id == $visual;
        $at += 24;
    }
}

# The answer to the request just sent; nothing if it was refused. Events are passed over.
sub answer {
    while (1) {
        my $head = receive(32);
        my $kind = unpack('C', $head);
        return undef if $kind == 0;
        next if $kind != 1;
        return $head . receive(4 * unpack('x4L', $head));
    }
}
sub atom {
    my $name = shift;
    send_all(pack('CxSSx2', 16, 2 + int((length($name) + 3) / 4), length($name)) . padded($name));
    my $answer = answer() or return 0;
    return unpack('x8L', $answer);
}
sub property {
    my ($window, $atom, $length) = @_;
    send_all(pack('CCSLLLLL', 20, 0, 6, $window, $atom, 0, 0, $length));
    my $answer = answer() or return '';
    my ($format) = unpack('xC', $answer);
    my ($count) = unpack('x16L', $answer);
    return substr($answer, 32, $count * $format / 8);
}

# A window manager names a window of its own on the root, and on that window itself again.
my $manager = '-';
my $check = atom('_NET_SUPPORTING_WM_CHECK');
my $window = property($root, $check, 1);
if (length($window) == 4) {
    $window = unpack('L', $window);
    if (property($window, $check, 1) eq pack('L', $window)) {
        $manager = property($window, atom('_NET_WM_NAME'), 64);
        $manager =~ s/[^\x21-\x7e]+/_/g;
        $manager = 'unnamed' if $manager eq '';
    }
}

send_all(pack('CCSLssSSL', 73, 2, 5, $root, 0, 0, $width, $height, 0xffffffff));
my $image = answer() or failed('the X server gives no picture of its screen');
my $pixels = substr($image, 32);
my $per_pixel = $bits{$depth} || 32;
my $bytes = $per_pixel / 8;
my $line = $height ? length($pixels) / $height : 0;
my $shown = 0;
if ($bytes >= 1) {
    my $first = substr($pixels, 0, $bytes);
    for my $row (0 .. $height - 1) {
        if (substr($pixels, $row * $line, $width * $bytes) ne $first x $width) { $shown = 1; last; }
    }
}
out('ok', $width, $height, $per_pixel, $line, $order, @masks, $shown ? 'shown' : 'blank', $manager);
if ($want eq 'picture') {
    binmode(STDOUT);
    print STDOUT $pixels;
}
