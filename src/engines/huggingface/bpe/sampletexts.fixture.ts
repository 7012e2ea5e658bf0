/** Texts that the tokenizers of tests and of the bench learn their merges from: scripts, code and numbers, written for this purpose. */
export const SAMPLE_TEXTS: readonly string[] = [
  `A router that knows which blocks of a prompt are already held somewhere can send the request there. It doesn't have to ask the engine: it
makes the same tokens from the same text, cuts them into the same blocks, and gives each block the same name. What it can't do is guess. If
one token differs, every name behind it differs too, and the request goes to an instance that holds nothing. That's why we're careful here.
Most of the words in a text are short and come again and again; the others are names, numbers, and things that somebody mistyped at 3 a.m.
They'll be cut into pieces, and the pieces have been learned from other texts. I'd say it's about 4 characters per token, or 1,250 tokens
for 5,000 characters, though you shouldn't rely on it. The first time is the slowest; after 10, 100 or 1000 times it's all the same.`,
  `Questions people asked: How long does it take? Who's waiting? Where did the other 12.5 % go? Why wouldn't it answer before 2025-06-30? She'd
said "never", he'd said 'always', and they've both been wrong -- see #42, a/b, e.g. <https://example.org/path?x=1&y=2>, or mail@example.org.
HELLO WORLD, THIS ISN'T A TEST. CamelCaseNames, snake_case_names, kebab-case-names, HTTPServer, iPhone, McDonald, XMLHttpRequest2.`,
  `export function mergeRanges(ranges: readonly Range[], limit = 1024): Range[] {
  const sorted = [...ranges].sort((a, b) => a.start - b.start);
  for (let index = 0; index < sorted.length; index += 1) {
    if (sorted[index].end > limit) {
      throw new RangeError(\`range \${index} ends at \${sorted[index].end}, expected at most \${limit}\`);
    }
  }
\treturn sorted.filter(({ start, end }) => start !== end); // none that is empty
}

def tokens_of(text, *, cache=None):
    """Returns ids."""
    if cache is not None and text in cache:
        return cache[text]
    return [vocab[piece] for piece in split(text)]\r\n\r\n#include <stdio.h>\r\nint main(void) { return printf("%d\\n", 0x1F << 3); }\r\n`,
  `{"model": "example", "messages": [{"role": "user", "content": "Hi!"}], "temperature": 0.7, "max_tokens": 256, "stream": true,
 "ids": [1, 22, 333, 4444, 55555], "nested": {"null": null, "yes": true, "no": false, "float": -1.5e-10, "text": "a\\nb"}}`,
  `今天的天气很好，我们决定去河边散步。服务器收到请求以后，先把文字变成词元，再看看哪些缓存已经存在。如果缓存在别的机器上，就把请求送到那台机器。
这样可以节省很多时间，也不会浪费显存。大家都觉得这个办法很简单，但是实现起来并不容易：一个字不同，后面的名字就全都不同了。第３章、１２３４５。`,
  `今日は天気がいいので、川まで散歩に行きました。サーバーはリクエストを受け取ると、まず文字をトークンに変えます。それから、どのキャッシュが残っているかを調べます。
カタカナとひらがなと漢字が混ざった文章は、空白がないので長い単語になります。ﾊﾝｶｸもあります。`,
  `오늘은 날씨가 좋아서 강가로 산책을 갔습니다. 서버는 요청을 받으면 먼저 글자를 토큰으로 바꿉니다. 캐시가 남아 있는지 확인합니다.`,
  `Сегодня хорошая погода, и мы пошли гулять к реке. Сервер получает запрос и сначала превращает текст в токены. Потом он смотрит, где лежит кэш.
Σήμερα ο καιρός είναι καλός και πήγαμε βόλτα στο ποτάμι. Ο διακομιστής λαμβάνει το αίτημα.`,
  `اليوم الطقس جميل وذهبنا في نزهة إلى النهر. היום מזג האוויר יפה והלכנו לטייל ליד הנהר. आज मौसम अच्छा है और हम नदी के किनारे टहलने गए। วันนี้อากาศดี เราไปเดินเล่นริมแม่น้ำ`,
  `Das Gerät läuft größtenteils über Nacht; Übungen für Jürgen. Ça va très bien, l'été où nous étions là. El niño comió piñas mañana. Zażółć gęślą jaźń.`,
  `🙂 👍🏽 👩‍👩‍👧‍👦 🇩🇪🇫🇷 ❤️ ✅ → ← ≠ ½ ² Ⅷ € £ ™ … “quoted” ‘single’ —  –   •\t|\t| --- | --- |\n\n\n***\n\n    indented\n\n\t\ttabs\n`,
];
