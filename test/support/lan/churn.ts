import type { Lan } from './lan.ts';
import { program } from './programs.ts';
import { WEB_FILES } from './servers.ts';
import type { Activity } from './traffic.ts';

/** Creates namespaces that send a request and a ping, and are removed after a second or two. */
export function churn(lan: Lan): Activity {
  let born = 0;
  return {
    app: 'churn',
    where: `${lan.prefix}-churn`,
    pauseMs: 3_000,
    run: async () => {
      using host = lan.visit(`churn-${born}`, { ipv6: born++ % 2 === 0 });
      const small = await host.run([
        program('curl'),
        '-sS',
        '--fail',
        '-o',
        '/dev/null',
        '-w',
        '%{size_download}',
        'http://web.test/small',
      ]);
      if (small.output !== String(WEB_FILES['small'])) throw new Error(`curl: ${small.code} ${small.output}`);
      const echo = await host.run(['busybox', 'ping', '-c', '2', '-i', '0.2', lan.nameserver]);
      if (echo.code !== 0) throw new Error(`ping: ${echo.output}`);
      return { connections: 1, requests: 3, bytes: WEB_FILES['small'] ?? 0 };
    },
  };
}
