"""Questions whose answer depends on when they are asked: about now, today, the latest, prices, weather, news, scores.

Words and phrases of English, the basic ones of German, French, Spanish, Italian and Portuguese, and a few of Russian, Polish, Dutch,
Turkish, Chinese, Japanese and Korean; no other language is known. A word
counts wherever it stands ("the current spending limit"): a question that is held to be bound to time wrongly only costs a hit.
What changes slowly is not known to change (who holds an office, how old somebody is in years): a time to live bounds that. So it is with
what belongs to whoever asks ("where is my order").
"""

import re

_SPAN = (
    r"(?:minute|hour|morning|afternoon|evening|night|day|week(?:end)?|month|quarter|season|semester|(?:fiscal |school )?year|\w{2,6}day)"
)
_ENGLISH = (
    r"now|nowadays|today(?:'?s)?|tonight(?:'?s)?|tomorrow(?:'?s)?|yesterday(?:'?s)?|current(?:ly)?|latest|newest|recent|upcoming"
    rf"|(?:this|next|last|past|coming) {_SPAN}(?:'?s)?|(?:past|last|next|coming) (?:few|couple of|two|three|\d+) {_SPAN}s"
    r"|at (?:the|this) moment|these days|up[- ]to[- ]date|as of|still (?:open|closed|available|alive|in stock|valid)|in stock"
    rf"|(?:since|until|till) when|how long (?:until|till|since)|{_SPAN}s (?:until|till|left)|open right"
    r"|what(?:'?s| is) the (?:time|date)|what (?:time|day|date) is (?:it|today)|time in [a-z]+|how old (?:is|are|am)"
    r"|what(?:'?s| is) (?:happening|going on|trending|on tv)|breaking news"
    r"|news|headlines?|weather|forecasts?|rain(?:ing)?|snow(?:ing)?|how (?:hot|cold|warm) is it|temperature (?:outside|in|at)|traffic"
    r"|price[sd]?|pricing|how much (?:does|do|is|are) [\w ,'-]{1,60} cost|costs? of|(?:exchange|interest|mortgage|currency) rates?"
    r"|stocks?|market cap(?:itali[sz]ation)?|scores?|standings|leaderboard|who won|who(?: is|'s) winning"
    r"|(?:what|which) (?:year|month|season|century|quarter|day of the week|week) (?:is|are) (?:it|we)"
    r"|is (?:it|today) (?:already |still |yet |a )?(?:\w{2,6}day|weekend|dark|light|hot|cold|warm|sunny|late|open|down|over)"
    r"|how (?:many (?:days|weeks|months|hours|minutes)|much time|long) (?:(?:are|is|do we have) )?(?:left |there )?(?:to|before|since)"
    r" (?!\w+(?:ing|e)\b)|how long ago|is (?!it\b)[\w .'-]{1,30} (?:down|offline|up and running)"
    r"|(?<!when )(?<!what time )(?:is|are) (?:the|any|your) [\w '-]{1,40} open(?! (?:on|at|to|every|by|during|source))"
    r"|did (?:the )?[\w '-]{1,30} win|(?:what(?:'?s| is|'?re| are)|how much (?:is|are)) [\w .'-]{1,40} worth"
    r"|value of (?:a |the |one )?(?:bitcoin|ether\w*|share|dollar|euro|pound|yen)s?|bitcoin|when(?: is|'s) the next"
    r"|who(?: is|'s) leading|who leads|in (?:theaters|theatres|cinemas)|flights? (?:delayed|cancelled|on time)"
)
_GERMAN = (
    r"heute|heutige[nrsm]?|(?<!guten )morgen|übermorgen|gestern|jetzt|gerade|aktuell\w*|derzeit\w*|momentan\w*|zurzeit|neueste\w*"
    r"|jüngste\w*|(?:diese|nächste|letzte|kommende)[nrsm]? (?:woche|monat|jahr|wochenende|quartal)|wie spät|wie ?viel uhr|wetter\w*"
    r"|nachrichten|preise?|(?:aktien|wechsel|börsen)kurse?|spielstand|wie alt (?:ist|sind)|kostet"
)
_FRENCH = (
    r"aujourd'hui|demain|(?:avant-|d')hier|hier (?:soir|matin|après-midi)|maintenant|actuel(?:le)?(?:s|ment)?|en ce moment"
    r"|cette semaine|(?:semaine|mois|année) (?:prochaine?|dernière?)|quelle heure|météo|quel temps|actualités"
    r"|derni[eè]res? (?:nouvelles?|versions?)|prix|cours de (?:l'action|la bourse)|combien coûte"
)
_SPANISH = (
    r"hoy|mañana|ayer|ahora|actualmente|actuales|en (?:la actualidad|este momento)|últim[oa]s?|esta semana|qué hora|qué tiempo"
    r"|noticias|precios?|cuánto cuesta"
)
_ITALIAN = r"oggi|domani|ieri|adesso|attual[ei]|attualmente|ultim[eio] notizie|che ore|prezz[oi]|quanto costa"
_PORTUGUESE = r"hoje|amanhã|ontem|agora|atualmente|que horas|notícias|preços?|quanto custa"
_OTHERS = (
    r"сегодня\w*|завтра|вчера|сейчас|текущ\w+|погод\w+|новост\w+|который час|курс\w* (?:доллар|евро|рубл|валют)\w*|цен[аыу]"
    r"|сколько стоит|последн\w+ верси\w+"
    r"|dziś|dzisiaj|jutro|wczoraj|teraz|obecn\w+|aktualn\w+|pogod\w+|wiadomości|która godzina|cen[ay]|ile kosztuje"
    r"|vandaag|gisteren|momenteel|huidige?|hoe laat|weerbericht|het weer|nieuws|prijs|prijzen|hoeveel kost"
    r"|bugün\w*|yar\u0131n|dün|şimdi|şu an\w*|saat kaç|hava durumu|haberler|fiyat\w*|kaç para"
)
_UNSPACED = (
    r"今天|明天|昨天|现在|現在|目前|最新|最近|今日|明日|昨日|天气|天氣|天気|新闻|新聞|ニュース|几点|幾點|几号|何時|何日"
    r"|价格|價格|値段|価格|多少钱|汇率|股价|株価|오늘|내일|어제|지금|현재|날씨|뉴스|가격"
)
"""of scripts without spaces, or with endings"""
_TIME_BOUND = re.compile(
    rf"\b(?:{_ENGLISH}|{_GERMAN}|{_FRENCH}|{_SPANISH}|{_ITALIAN}|{_PORTUGUESE}|{_OTHERS})\b|{_UNSPACED}", re.IGNORECASE
)


def time_bound(text: str) -> bool:
    """Whether the answer is likely to be another one tomorrow. Linear in the length of the text."""
    return _TIME_BOUND.search(text.replace("\u2019", "'")) is not None
