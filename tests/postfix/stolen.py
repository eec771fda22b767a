"""A thief with a password: many letters over a few connections, and what became of each as one JSON line."""
# SPDX-License-Identifier: BSD-2-Clause
# usage: stolen.py SERVER SOURCE LOGIN PASSWORD FIRST COUNT CONNECTIONS
import json
import smtplib
import ssl
import sys
import threading

server, source, login, password = sys.argv[1:5]
first, count, connections = (int(word) for word in sys.argv[5:8])
waiting = list(range(first, first + count))
lock = threading.Lock()
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE


def connect():
    smtp = smtplib.SMTP(server, 587, "home.example", timeout=30, source_address=(source, 0))
    smtp.starttls(context=context)
    smtp.login(login, password)
    return smtp


def letter(smtp, number):
    """(code, text) of the reply that decided."""
    code, text = smtp.mail("%s@example.jp" % login)
    if code == 250:
        code, text = smtp.rcpt("victim-%d@far.example" % number)
    if code == 250:
        code, text = smtp.data("Subject: letter %d\r\n\r\nBuy.\r\n" % number)
    else:
        smtp.rset()
    return code, text


def thief():
    smtp, refused = None, 0
    while True:
        with lock:
            if not waiting:
                break
            number = waiting.pop(0)
        try:
            if smtp is None:
                smtp, refused = connect(), 0
            code, text = letter(smtp, number)
        except (OSError, smtplib.SMTPException) as fault:
            code, text, smtp = 0, repr(fault).encode(), None
        with lock:
            print(json.dumps({"letter": number, "code": code, "text": text.decode("latin-1")}), flush=True)
        refused += code != 250
        if smtp is not None and refused == 9:  # Postfix makes him wait from the tenth on, so he hangs up
            smtp.quit()
            smtp = None
    if smtp is not None:
        smtp.quit()


threads = [threading.Thread(target=thief) for _ in range(connections)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
