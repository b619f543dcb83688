import { createServer, type Socket } from 'node:net';
import { createSecureContext, TLSSocket } from 'node:tls';

/** A mail server on loopback that takes what comes and keeps it: enough of RFC 5321, STARTTLS and AUTH to be a real partner. */
export interface SinkOptions {
  port: number;
  /** `starttls`: it offers it; `none`: it speaks in plain; `tls`: from the first byte. */
  security: 'starttls' | 'none' | 'tls';
  certificate: string;
  key: string;
  /** Without it nobody may send before signing in. */
  account?: { user: string; password: string };
  /** An answer of its own to a command; null: the usual one. */
  answer?: (command: string) => string | null;
}

export interface Sink {
  mails: { from: string; to: string[]; raw: string; secure: boolean }[];
  /** Every line that a client said, but the mails. */
  said: string[];
  stop(): Promise<void>;
}

export async function smtpSink(options: SinkOptions): Promise<Sink> {
  const { security, certificate, key, account } = options;
  const secureContext = createSecureContext({ cert: certificate, key });
  const sink: Pick<Sink, 'mails' | 'said'> = { mails: [], said: [] };
  const sockets = new Set<Socket>();

  const upgrade = (socket: Socket): void => converse(new TLSSocket(socket, { isServer: true, secureContext }), true);

  function converse(socket: Socket, secure: boolean, greets = false): void {
    let buffer = '';
    let mail = { from: '', to: [] as string[] };
    let signedIn = account === undefined;
    let inData = false;
    let loginUser: string | null = null;
    const say = (line: string): void => void (socket.writable && socket.write(`${line}\r\n`));
    const check = (user: string, password: string): void => {
      loginUser = null;
      signedIn = user === account?.user && password === account.password;
      say(signedIn ? '235 2.7.0 welcome' : '535 5.7.8 these are not yours');
    };
    const plain = (text: string): string => Buffer.from(text, 'base64').toString('utf8');

    function command(line: string): void {
      sink.said.push(line);
      if (loginUser !== null) {
        if (loginUser === '') {
          loginUser = plain(line);
          say('334 UGFzc3dvcmQ6');
        } else check(loginUser, plain(line));
        return;
      }
      const own = options.answer?.(line);
      const [word = ''] = line.toUpperCase().split(' ', 1);
      if (own) say(own);
      else if (word === 'EHLO') {
        const more = [
          '8BITMIME',
          ...(security === 'starttls' && !secure ? ['STARTTLS'] : []),
          ...(account && (secure || security === 'none') ? ['AUTH PLAIN LOGIN'] : []),
        ];
        say(['250-sink', ...more.map((name, at) => `250${at === more.length - 1 ? ' ' : '-'}${name}`)].join('\r\n'));
      } else if (word === 'STARTTLS' && security === 'starttls' && !secure) {
        say('220 go on');
        socket.removeAllListeners('data');
        upgrade(socket);
      } else if (/^AUTH PLAIN /i.test(line)) {
        const [, user = '', password = ''] = plain(line.slice(11)).split('\0');
        check(user, password);
      } else if (/^AUTH LOGIN/i.test(line)) {
        loginUser = '';
        say('334 VXNlcm5hbWU6');
      } else if (word === 'MAIL' && !signedIn) say('530 5.7.0 sign in first');
      else if (word === 'MAIL') {
        mail = { from: /<([^>]*)>/.exec(line)?.[1] ?? '', to: [] };
        say('250 ok');
      } else if (word === 'RCPT') {
        mail.to.push(/<([^>]*)>/.exec(line)?.[1] ?? '');
        say('250 ok');
      } else if (word === 'DATA') {
        inData = true;
        say('354 go on');
      } else if (word === 'QUIT') {
        say('221 bye');
        socket.end();
      } else say(word === 'RSET' || word === 'NOOP' ? '250 ok' : '502 not here');
    }

    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      buffer += chunk.toString('latin1');
      for (;;) {
        const end = inData ? buffer.indexOf('\r\n.\r\n') : buffer.indexOf('\r\n');
        if (end < 0) return;
        const text = buffer.slice(0, end);
        buffer = buffer.slice(end + (inData ? 5 : 2));
        if (inData) {
          inData = false;
          sink.mails.push({ ...mail, raw: `${Buffer.from(text, 'latin1').toString('utf8').replace(/^\.\./gm, '.')}\r\n`, secure });
          say('250 2.0.0 taken');
        } else command(text);
      }
    });
    if (greets) say('220 sink');
  }

  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
    if (security === 'tls') converse(new TLSSocket(socket, { isServer: true, secureContext }), true, true);
    else converse(socket, false, true);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, '127.0.0.1', () => resolve());
  });
  return {
    ...sink,
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
