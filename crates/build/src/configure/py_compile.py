# Stands in for Python's own module of this name while a stage's packages are configured. What is to
# be byte-compiled is noted in FOLDER, and compiled beside the scripts by the module itself, which
# lies at ORIGINAL meanwhile. Whoever wants anything else of the module gets it.
import os
import sys

ITSELF = '@ITSELF@'
ORIGINAL = '@ORIGINAL@'
FOLDER = '@FOLDER@'
# Whether anybody wants what would come out.
WANTED = @WANTED@


def noted():
    arguments = sys.argv[1:]
    piped = arguments == ['-']
    if not arguments or not piped and any(one.startswith('-') for one in arguments):
        return False
    if not os.path.exists(FOLDER + '/queue'):
        return False
    if not WANTED:
        if piped:
            sys.stdin.buffer.read()
        return True
    if piped:
        names = [line.rstrip(b'\n') for line in sys.stdin.buffer]
        # Whoever pipes names leaves out what is compiled already; what is noted is as good as that.
        with open(FOLDER + '/names', 'ab+') as known:
            known.seek(0)
            seen = set(known.read().split(b'\n'))
            names = [name for name in names if name not in seen]
            known.write(b''.join(name + b'\n' for name in names))
    else:
        names = [os.fsencode(name) for name in arguments]
    options = ['-E'] * sys.flags.ignore_environment + ['-S'] * sys.flags.no_site
    options += ['-O'] * sys.flags.optimize
    own = os.fsencode(ITSELF)
    if own in names:
        # What stands at its place now is not what is to be compiled.
        names = [name for name in names if name != own]
        with open(FOLDER + '/itself', 'a') as later:
            later.write(' '.join([ITSELF, ORIGINAL, sys.executable] + options) + '\n')
    if not names:
        return True
    number = 0
    while True:
        record = '%s/%05d' % (FOLDER, number)
        try:
            made = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            break
        except FileExistsError:
            number += 1
    with open(made, 'wb') as file:
        file.write(b''.join(name + b'\n' for name in names))
    # One line, shorter than a pipe takes at once: those of two programs never mix.
    line = [record, os.environ.get('DPKG_MAINTSCRIPT_PACKAGE') or '-', 'pipe' if piped else 'list',
            ORIGINAL, sys.executable] + options
    queue = os.open(FOLDER + '/queue', os.O_WRONLY)
    os.write(queue, (' '.join(line) + '\n').encode())
    os.close(queue)
    return True


if __name__ == '__main__' and noted():
    sys.exit(0)
with open(ORIGINAL, 'rb') as _file:
    exec(compile(_file.read(), ORIGINAL, 'exec'))
