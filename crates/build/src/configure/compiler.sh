# Compiles what is noted in the queue, one note after the other, while the scripts go on.
kasmforge_compile() {
    while read -r record package way original python options; do
        [ "$record" != end ] || return 0
        if [ "$way" = pipe ]; then
            PYTHONPATH=${original%/*} "$python" $options -m py_compile - <"$record"
        else
            xargs -d '\n' -a "$record" "$python" $options "$original"
        fi || echo "$package" >>@FOLDER@/failed
    done
}
# Waits for it, and puts every module that was stood in for back into its place.
kasmforge_compiled() {
    echo end >&9
    wait "$kasmforge_compiler"
    exec 9>&-
    for original in @KEPT@/*/py_compile.py; do
        version=${original%/*}
        cp -p "$original" "/usr/lib/${version##*/}/py_compile.py" ||
            echo - >>@FOLDER@/failed
    done
    [ ! -e @FOLDER@/itself ] || while read -r itself original python options; do
        "$python" $options "$itself" "$itself" || echo - >>@FOLDER@/failed
    done <@FOLDER@/itself >>@FOLDER@/said 2>&1
    [ -e @FOLDER@/failed ] || return 0
    cat @FOLDER@/said
    while read -r package; do
        printf '\001kasmforge failed bytecode %s 1\n' "$package"
    done <@FOLDER@/failed
    exit 1
}
mkdir @FOLDER@ && mkfifo @FOLDER@/queue && exec 9<>@FOLDER@/queue || exit 1
kasmforge_compile <&9 >@FOLDER@/said 2>&1 &
kasmforge_compiler=$!
# What every interpreter loads first is there before any of them could write it while it is compiled.
for python in @INTERPRETERS@; do
    env -u PYTHONDONTWRITEBYTECODE "$python" -E -S -c 'import os, sys' >@FOLDER@/begun 2>&1 || :
done
