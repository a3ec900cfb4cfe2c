#!/bin/sh
# Starts CUPS and makes the printer, as root. Doing it twice does no harm.

[ "$(id -u)" -eq 0 ] || {
    echo "start_cups.sh: only root can start CUPS: docker exec -u 0 CONTAINER /etc/cups/start_cups.sh" >&2
    exit 1
}
name=${KASM_PRINTER_NAME:-Kasm-Printer}
sed -i 's|^#\?Out .*|Out /home/kasm-user/PDF|; s|^#\?AnonDirName .*|AnonDirName /home/kasm-user/PDF|' /etc/cups/cups-pdf.conf
install -d -o kasm-user -g kasm-user /home/kasm-user/PDF
mkdir -p /run/cups
pgrep -x cupsd >/dev/null || cupsd
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    lpstat -r 2>/dev/null | grep -q 'is running' && break
    sleep 0.5
done
lpstat -p "$name" >/dev/null 2>&1 ||
    lpadmin -p "$name" -E -v cups-pdf:/ -P /usr/share/ppd/cups-pdf/CUPS-PDF_opt.ppd 2>/dev/null
lpadmin -d "$name"
