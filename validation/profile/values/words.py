"""What columns and values are called: synonyms in the languages and habits of shops, the surest first."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Role = Literal[
    "user", "item", "event", "value", "time", "position", "event_id", "title", "description", "category", "brand",
    "price", "text", "headline", "quantity", "order", "signup_at", "created_at", "of_user", "of_item",
]  # fmt: skip

# Role to its names in three ranks: sure, likely, possible. Written as `plain_name` gives them.
_NAMES: dict[Role, tuple[str, str, str]] = {
    "user": (
        "userid uid customerid customerno customernumber custid customerkey clientid visitorid memberid buyerid "
        "accountid reviewerid reviewerhash subscriberid householdid householdkey kundennummer kundennr kundenid "
        "nutzerid benutzerid idclient numclient noclient idutilisateur idcliente idusuario usuarioid clienteid "
        "codcliente codicecliente idutente klantid klantnummer gebruikerid klientid idklienta kundnr kundid musteriid "
        "musterino kullaniciid 用户id 会员id 客户id 顧客id 会員id ユーザーid idпользователя idклиента кодклиента",
        "user customer cust client visitor member buyer account reviewer person personid player playerid subscriber "
        "household shopper guest guestid listener viewer reader kunde kaufer nutzer benutzer utilisateur acheteur "
        "cliente usuario comprador utente klant gebruiker klient uzytkownik kund anvandare musteri kullanici 用户 会员 "
        "客户 顧客 ユーザー пользователь клиент покупатель fullvisitorid userpseudoid msno who",
        "username userdisplayname displayname nickname customername reviewername profilename author authorid "
        "authorname "
        "critic criticname email usermail login handle sessionid session usersession visitid cookie cookieid deviceid "
        "anonymousid sessionkey nutzername benutzername kundenname nomclient nombrecliente nomecliente",
    ),
    "item": (
        "itemid itemno itemcode itemnumber productid productno productcode productnumber productkey prodid sku skuid "
        "skucode stockcode articleid articleno articlenumber asin parentasin isbn movieid filmid bookid songid trackid "
        "gameid appid recipeid restaurantid businessid placeid venueid hotelid courseid newsid listingid offerid "
        "artworkid variantid animeid artistid beerid wineid goodsid artikelnr artikelnummer artikelid produktid "
        "produktnr produktnummer idproduit codeproduit refproduit refarticle codearticle idproducto "
        "codigoproducto productoid codproduto idproduto idprodotto codiceprodotto "
        "codicearticolo productid idproduktu idtowaru urunid urunkodu "
        "商品id 产品id 商品コード idтовара кодтовара артикул",
        "item product prod article movie film book song track game app recipe restaurant business place venue hotel "
        "course listing offer variant ean gtin upc barcode artikel produkt ware produit reference producto articulo "
        "produto prodotto articolo towar urun 商品 产品 товар what",
        "videoid contentid pageid url link code id",
    ),
    "event": (
        "event eventtype eventname behavior behaviour behaviortype behaviourtype actiontype interactiontype "
        "interaction ereignis ereignistyp evenement evento tipoevento typeevenement zdarzenie 行为 行为类型 событие "
        "типсобытия",
        "action activity activitytype aktion accion acao azione действие",
        "type kind typ tipo",
    ),
    "value": (
        "rating userrating ratingvalue reviewrating starrating overall stars starscore reviewscore userscore "
        "bewertung sterne calificacion puntuacion estrellas valoracion valutazione stelle avaliacao beoordeling "
        "评分 星级 оценка рейтинг",
        "score star rate value ratings vote grade note etoiles wertung punkte nota voto ocena puan originalscore "
        "preference",
        "like liked thumbs thumb recommended isrecommended sentiment recommendation",
    ),
    "time": (
        "timestamp eventtime eventtimestamp datetime orderdate invoicedate purchasedate transactiondate reviewdate "
        "reviewtime unixreviewtime creationdate createdat orderedat purchasedat reviewedat viewedat occurredat "
        "submittedat ratedat clickedat "
        "timestampms timestampmillis unixtime epoch orderpurchasetimestamp salesdate saledate "
        "bestelldatum rechnungsdatum kaufdatum belegdatum datecommande dateachat datefacture fechapedido fechacompra "
        "fechaventa dataordine dataacquisto datapedido datacompra orderdatum dataora datazamowienia siparistarihi",
        "time date ts at when soldat boughtat paidat created day datum zeit zeitpunkt zeitstempel dateheure fecha "
        "fechahora data horodatage tijd tijdstip czas tarih zaman 时间 "
        "日期 时间戳 日時 дата время датавремя submissiondate reviewcreationdate",
        "updatedat year month eventdate eventday timeid",
    ),
    "position": ("position seqpos seqno sequenceno eventseq", "pos seq sequence step", ""),
    "event_id": ("eventid interactionid reviewid ratingid orderlineid lineid eventuuid", "uuid", ""),
    "title": (
        "title productname producttitle itemname itemtitle movietitle moviename filmtitle filmname booktitle bookname "
        "articlename artikelname artikelbezeichnung produktname produktbezeichnung nomproduit nomarticle libelle "
        "designation nombreproducto nomeproduto nomeprodotto productnaam nazwaproduktu urunadi 商品名称 "
        "商品名 产品名称 "
        "名称 标题 название наименование restaurantname businessname songname trackname appname gamename",
        "name titel bezeichnung titre intitule nom titulo nombre titolo denominazione nome naam nazwa tytul",
        "description desc descr label beschreibung descripcion descrizione descricao omschrijving opis описание",
    ),
    "description": (
        "description productdescription itemdescription longdescription artikelbeschreibung beschreibung descripcion "
        "descrizione descricao omschrijving opis aciklama 描述 описание",
        "desc descr details overview plot synopsis about",
        "summary",
    ),
    "category": (
        "category categories categoryname categorypath categorycode productcategory itemcategory maincategory genre "
        "genres kategorie warengruppe produktkategorie categorie rayon categoria kategoria kategori 类目 类别 分类 "
        "カテゴリ категория",
        "categoryid cat department cuisine cuisines producttype productgroup productgroupname class section rubrik "
        "famille familia sezione familie",
        "type group tags",
    ),
    "brand": (
        "brand brandname manufacturer marke hersteller marque fabricant marca fabricante produttore merk marka "
        "producent 品牌 ブランド бренд производитель",
        "maker vendor label publisher store supplier lieferant",
        "",
    ),
    "price": (
        "price unitprice salesprice saleprice sellingprice listprice itemprice productprice priceeur priceusd pricegbp "
        "preis einzelpreis stuckpreis verkaufspreis prix prixunitaire precio preciounitario prezzo prezzounitario "
        "preco precounitario prijs cena fiyat birimfiyat 价格 单价 価格 цена",
        "cost kosten pricing vk netprice grossprice",
        "",
    ),
    "text": (
        "text reviewtext reviewbody reviewcontent review reviews fulltext rezension bewertungstext kundenmeinung "
        "commentaire avis comentario resena opinion recensione commento avaliacaotexto recensie yorum 评论 评价 "
        "レビュー "
        "отзыв комментарий reviewcomment reviewcomments",
        "comment comments content body feedback message quote kommentar texte texto testo tekst 内容 текст",
        "",
    ),
    "headline": ("summary headline reviewtitle reviewsummary reviewheadline", "subject", ""),
    "quantity": (
        "quantity qty units nquantity orderquantity menge stuckzahl quantite cantidad quantita quantidade aantal ilosc "
        "adet 数量 количество",
        "anzahl count pieces",
        "",
    ),
    "order": (
        "orderid orderno ordernumber invoiceno invoice invoicenumber invoiceid transactionid receiptid receiptno "
        "basketid bestellnummer bestellnr rechnungsnummer belegnummer nocommande idcommande numfacture idpedido "
        "numeropedido nfactura idordine 订单id 订单号 номерзаказа",
        "order basket receipt transaction bestellung commande pedido ordine",
        "",
    ),
    "signup_at": (
        "signupat yelpingsince signupdate registeredat registrationdate joindate joinedat membersince customersince",
        "joined registered createdat created",
        "",
    ),
    "created_at": (
        "createdat releasedate publishdate publishedat launchdate addedat dateadded",
        "created released launched published",
        "",
    ),
    "of_user": (
        "country countryname land pays pais paese city town region state province zip zipcode postcode postalcode "
        "gender sex age agegroup birthyear occupation job segment customersegment customertype membership loyalty "
        "language locale plz stadt ort bundesland geschlecht alter beruf ville sexe ciudad genero edad userrealm "
        "usercountry usercity 国家 城市 性别 年龄 страна город пол возраст",
        "",
        "",
    ),
    "of_item": (
        "color colour size material author artist director year releaseyear season collection collections style farbe "
        "grosse couleur taille auteur talla autor autore colore taglia language format platform rooms timings",
        "",
        "",
    ),
}
# The shop's words for an event, as `plain_name` gives them, to the contract's.
_EVENT_WORDS: dict[str, str] = {
    word: event
    for event, words in {
        "impression": "impression impressions impr shown exposure expose exposed display displayed 曝光 показ",
        "view": "view views viewed pv pageview productview viewitem viewproduct itemview detailproductview viewcontent "
        "detail details visit watch watched play played playstart listen listened stream read browse browsed look "
        "see seen open opened ansicht ansehen angesehen gesehen vue consultation vista visto ver visualizacion "
        "visualizzazione visualizacao bekijken bekeken wyswietlenie 浏览 閲覧 просмотр",
        "click": "click clicks clicked clickitem productclick tap select selectitem klick geklickt clic cliquer klik "
        "klikniecie 点击 クリック клик like liked favorite favourite fav heart bookmark save saved wishlist "
        "addtowishlist addtofavorites addtofavourites follow share merken gemerkt favori favorito 收藏 избранное",
        "cart": "cart carts addtocart addcart cartadd productaddedtocart addedtocart basket addtobasket atc bag "
        "addtobag tocart warenkorb inwarenkorb korb panier ajoutpanier ajouteraupanier carrito anadiralcarrito "
        "agregaralcarrito "
        "carrello aggiungialcarrello carrinho winkelwagen winkelmandje koszyk sepet sepeteekle 加购 加购物车 カート "
        "корзина вкорзину",
        "purchase": "purchase purchases purchased buy bought order ordered transaction transactions sale sales sold "
        "checkoutcomplete ordercomplete ordercompleted paid pay payment conversion kauf gekauft bestellung bestellt "
        "achat acheter achete commande compra comprar comprado pedido acquisto acquistato acquista aankoop koop "
        "gekocht zakup kupno satinalma satinal siparis 购买 购入 購入 下单 покупка заказ",
        "rating": "rating ratings rate rated review reviewed star stars bewertung bewertet rezension note avis "
        "calificacion valoracion valutazione voto avaliacao beoordeling ocena puan 评分 评价 оценка",
    }.items()
    for word in words.split()
}
# Words that are known and are none of the contract's events: their rows are left out.
_OTHER_EVENTS = (
    "removefromcart removecart cartremove removefrombasket return returned refund refunded cancel cancelled "
    "canceled login logout signin signout signup register registration search scroll pageleave exit dislike "
    "unlike skip skipped beginchecktout begincheckout checkout startcheckout storno retoure suche recherche "
    "busqueda"
)
OTHER_EVENTS = frozenset(_OTHER_EVENTS.split())
# Ratings in words, to the ends of the scale.
_RATING_WORDS: dict[str, str] = {
    word: mark
    for mark, words in {
        "5": "like liked up thumbsup thumbup positive pos good recommended recommend yes true fresh love loved upvote "
        "verygood excellent gefallt positiv gut oui bien si positivo positif buono",
        "1": "dislike disliked down thumbsdown thumbdown negative neg bad notrecommended no false rotten hate hated "
        "downvote verybad terrible gefalltnicht negativ schlecht non mal negativo negatif cattivo",
        "3": "neutral mixed ok okay average mittel neutre neutro",
    }.items()
    for word in words.split()
}
# Who somebody is, which a profile must not hold.
_PERSONAL = (
    "email mail emailaddress phone phonenumber telephone mobile firstname lastname fullname name surname "
    "username address street password passwordhash birthdate dateofbirth iban ip ipaddress telefon vorname "
    "nachname nom prenom adresse correo telefono nombre apellido cognome indirizzo"
)
PERSONAL = frozenset(_PERSONAL.split())
# Names of columns that data frames write for their row numbers.
INDEX_NAMES = re.compile(r"(unnamed:? ?_?\d+|__index_level_\d+__|index|level_\d+|\.\.\.1|x|rownames?|)", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def plain_name(name: str) -> str:
    """A name or a word without case, accents, spaces and marks: "Customer ID" and "customer_id" are customerid."""
    folded = unicodedata.normalize("NFKD", name.replace("ß", "ss")).casefold()
    return "".join(c for c in folded if c.isalnum() or unicodedata.category(c).startswith("Lo"))


def attribute_name(name: str) -> str:
    """A column's name as that of an attribute: "Customer Segment" is customer_segment."""
    parts = re.split(r"[\W_]+", _CAMEL.sub("_", name))
    return "_".join(part.lower() for part in parts if part) or "attribute"


def name_rank(role: Role, name: str) -> float:
    """How surely a column of this name plays a role: 3, 2, 1, or 0.5 where only a part of the name says so."""
    ranks = RANKS[role]
    if rank := ranks.get(plain_name(name)):
        return float(rank)
    parts = _parts(name)
    if len(parts) < 2:
        return 0.0
    ends = {"".join(parts[begin:]) for begin in range(1, len(parts))}
    heads = {"".join(parts[:end]) for end in range(1, len(parts))}
    last = max((ranks.get(part, 0) for part in ends), default=0)
    if last >= 2:
        return last / 4
    # "Book-Rating" is a rating: what stands at the end says what a column is, where it is known.
    if any(other.get(part, 0) >= 2 for part in ends for other in RANKS.values()):
        return 0.0
    first = max((ranks.get(part, 0) for part in heads if len(part) > 2), default=0)
    return first / 4 if first >= 2 else 0.0


def _parts(name: str) -> list[str]:
    return [plain_name(part) for part in re.split(r"[\W_]+", _CAMEL.sub("_", name)) if part]


RANKS: dict[Role, dict[str, int]] = {
    role: {plain_name(word): 3 - rank for rank in (2, 1, 0) for word in ranks[rank].split()}
    for role, ranks in _NAMES.items()
}
EVENT_WORDS = {plain_name(word): event for word, event in _EVENT_WORDS.items()}
RATING_WORDS = {plain_name(word): mark for word, mark in _RATING_WORDS.items()}
